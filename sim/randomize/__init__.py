"""What is drawn for an episode, how it is applied, and what is held out."""
