"""Trained models as files that run without MMDetection.

`parts` says what is exported, `program` writes it for PyTorch and `onnx_graph` for ONNX, `custom_ops`
builds what makes ONNX Runtime as fast as the model, `checking` compares with the model.
"""
