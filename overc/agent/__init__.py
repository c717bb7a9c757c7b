"""The agent: runs plugins on time and pushes what they say to the server."""
