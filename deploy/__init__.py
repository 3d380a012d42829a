"""What runs at the plant: bundles, the onnxruntime engine, result store and registry; torch-free but for export."""
