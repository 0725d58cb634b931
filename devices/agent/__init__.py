"""netdyno's other end: what runs where a model is measured, with nothing but Python >= 3.6 there.

It is sent over the connection that it then talks on, as one text; nothing of it is written to that machine's disk. It
uses what is installed there: ONNX Runtime, LiteRT or TFLite, PyTorch, trtexec. What is timed here is timed alike on
this machine and on others: the local workers take their models and their loop from here.

These modules import nothing but the standard library and each other; :mod:`netdyno.devices.agent.main` says how they
are run, :mod:`netdyno.devices.agent.sent` how they travel.
"""
