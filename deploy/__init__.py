"""What runs at the plant: bundles, the onnxruntime engine, the result store, the registry (all torch-free but export)."""
