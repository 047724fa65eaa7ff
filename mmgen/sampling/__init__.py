"""From a request to samples: what all modalities share."""
