"""The page to leaf through evaluated films: what it shows, and the server that hands it out."""
