"""What runs at the plant: bundles, the onnxruntime engine, the result store, the registry; torch-free but for export."""
