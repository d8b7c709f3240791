from fedmetric.registry import rules
@rules.register("fedavg")
class FedAvg:
    """avg"""
