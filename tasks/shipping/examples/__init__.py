"""Examples by problem, as people get them: :mod:`tasks.shipping.written` makes one file of each.

They import nothing of the project but each other, and need the runtime, NumPy and Pillow alone.
"""
