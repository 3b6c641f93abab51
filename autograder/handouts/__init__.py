"""From sources to what people open: notebooks, bundle, website, PDFs."""
