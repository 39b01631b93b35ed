"""What can be wrong between the keys of sbcauth.yaml, each of which is right by itself."""
