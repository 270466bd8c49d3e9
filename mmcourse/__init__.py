"""mmcourse: a hands-on course on generating and repairing pictures from several modalities.

Importing the package is cheap and does not import torch; import the module you need, such as
``from mmcourse import world, text2image``.
"""

__version__ = "0.1.0"
