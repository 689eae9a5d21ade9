"""From images, tables and texts to data sets in the xlsa17 layout, and class embeddings for them."""
