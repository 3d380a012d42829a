"""onnxruntime sessions: devices, backbone, heads, and what parity means."""
