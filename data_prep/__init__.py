"""From a download (DICOM films and tables) to TFRecord shards."""
