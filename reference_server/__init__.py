"""A conforming financial API, made of parts that can be replaced, with its defects and benign variants."""
