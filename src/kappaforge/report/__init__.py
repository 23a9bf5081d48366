"""Tables, figures and the offline page of a run."""
