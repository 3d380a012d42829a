"""From torch to ONNX: the only modules of deploy that import torch and onnx."""
