"""Data that is made here: scenes, sentences and questions."""
