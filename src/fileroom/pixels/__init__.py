"""Pixel data: find frames, decode, transcode losslessly, render."""
