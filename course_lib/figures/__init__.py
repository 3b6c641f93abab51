"""The pictures, one module a lecture: each draws on the axes it is given and returns them."""
