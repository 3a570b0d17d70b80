"""Which steps there are, in what order, and when one need not run again."""
