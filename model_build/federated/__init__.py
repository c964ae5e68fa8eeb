"""The Flower app of a federated source: what its server and its clients run, here or in a federation.

Apart from the rest of `model_build` because it travels: beside flwr, torch and NumPy it imports `serving`, and of this
package what imports nothing itself (`calling`, `errors`, `factories`).
"""
