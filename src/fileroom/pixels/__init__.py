"""Pixel data: find frames, decode, transcode losslessly, render. Reads the bytes it is given; opens nothing."""
