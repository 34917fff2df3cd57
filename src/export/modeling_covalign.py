"""A BERT whose embeddings X pass through a task's alignment matrix R before the layers: X R.

Written by `covalign export` beside the weights of a task that was trained with an alignment that no
plain BERT can hold (Wu, Zhang and Ré, ICLR 2020). `bert.embeddings.alignment` is R, [hidden, hidden];
each token's embedding, a row, is multiplied with it from the left. All else is transformers' own:

    AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=True)
"""

import torch
from transformers import BertConfig, BertForSequenceClassification
from transformers.models.bert.modeling_bert import BertEmbeddings


class CovalignBertConfig(BertConfig):
    model_type = "covalign_bert"


class AlignedEmbeddings(BertEmbeddings):
    def __init__(self, config):
        super().__init__(config)
        self.alignment = torch.nn.Parameter(torch.eye(config.hidden_size))

    def forward(self, *args, **kwargs):
        return super().forward(*args, **kwargs) @ self.alignment


class CovalignBertForSequenceClassification(BertForSequenceClassification):
    config_class = CovalignBertConfig

    def __init__(self, config):
        super().__init__(config)
        self.bert.embeddings = AlignedEmbeddings(config)
        self.post_init()
