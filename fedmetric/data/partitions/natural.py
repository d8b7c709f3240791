from fedmetric.registry import partitioners
@partitioners.register("natural")
class Natural:
    """nat"""
