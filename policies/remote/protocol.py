"""What this project adds to openpi's protocol, and how a server knows of another version of that."""

PROTOCOL = 2
OURS = "fr3_vla"  # the key of what is added, in metadata, requests and answers
HEADER = "FR3-VLA-Protocol"  # carries PROTOCOL when a client of this project connects
