"""Quantised networks: what their integers stand for, and the float network behind them.

`rewrite` is the rewrite that all targets share; `dynamic` and `edges` are its harder cases, `work` what the three
share. `encodings` and `ranges` say what integers stand for; weights as a file has them are `pipeline.integers`.
"""

import pipeline.rewrites  # noqa: F401 - one of them is here, and whichever folder is asked for first loads the other
