"""Which base columns every value in a statement comes from: trees and a catalog in, a `Flow` out; never asks a policy."""
