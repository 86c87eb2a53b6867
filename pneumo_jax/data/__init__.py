"""From files to batches: DICOM, TFRecord shards, the record schema, input pipeline."""
