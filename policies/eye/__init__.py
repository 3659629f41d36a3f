"""The eye: images and words to where the named things are, by comparing words with places."""
