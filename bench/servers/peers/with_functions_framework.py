"""Serves the model with Google's functions-framework, for the comparison with a function of Eaves.

The server is started with `functions-framework --target predict --source FILE`.
"""

import functions_framework
from model import Model

model = Model()


@functions_framework.http
def predict(request):
    return model.predict(request.get_data())
