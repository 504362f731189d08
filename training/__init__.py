"""From radiographs in the layout of the RSNA Pneumonia Detection Challenge to the bundle that the service loads."""
