"""Compares the cost of models: counted, predicted, and measured here in ONNX Runtime."""
