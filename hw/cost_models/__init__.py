"""Cost models, one a file; :func:`hw.cost_model.load_cost_model` finds them by name."""
