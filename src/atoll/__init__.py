"""One OpenStack cloud made of many."""

import atexit
import gc

# Where msgspec has looked into the types of structs, the last collection of the interpreter frees what it has
# kept of them twice, and the process ends with a fault of its memory (msgspec's issue 717). Nothing needs it.
atexit.register(gc.freeze)
