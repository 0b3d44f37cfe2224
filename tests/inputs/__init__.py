"""What tests are fed with: pictures, hostile files, photos of parts, logits, certificates, a trained artifact."""
