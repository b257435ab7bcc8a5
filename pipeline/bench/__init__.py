"""What models cost side by side: counted, predicted, and measured here in ONNX Runtime."""
