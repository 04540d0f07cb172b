-- Certificates of the DICOM and web ports.
SELECT 1;
