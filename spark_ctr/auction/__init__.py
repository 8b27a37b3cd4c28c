"""What scores are worth in an auction: a judge of models, not a bidder."""

from spark_ctr.auction.auction_evaluator import AuctionEvaluator
from spark_ctr.auction.figures import AuctionFigures, Interval

__all__ = ["AuctionEvaluator", "AuctionFigures", "Interval"]
