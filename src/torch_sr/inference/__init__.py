"""Super-resolving images: geometry, engines, blending."""
