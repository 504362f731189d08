"""The networks: MONAI's ResNet18 for one grayscale channel and one logit, and a U-Net for the lungs."""

import torch
from monai.networks.nets import ResNet, UNet
from torch import Tensor, nn

__all__ = ["LungNet", "ResNet18"]


class ResNet18(ResNet):
    """Grayscale ResNet18 whose one logit and class activation map come from the same forward pass.

    Its parameters have the names and shapes of torchvision's `resnet18` (but for the one channel of the first
    convolution and the one row of the last layer), so ImageNet weights load by name.
    """

    def __init__(self) -> None:
        super().__init__(
            block="basic",
            layers=[2, 2, 2, 2],
            block_inplanes=[64, 128, 256, 512],
            spatial_dims=2,
            n_input_channels=1,
            conv1_t_size=7,
            conv1_t_stride=2,
            num_classes=1,
            bias_downsample=False,
        )

    def features(self, image: Tensor) -> Tensor:
        """Map (B, 1, H, W) to the last feature maps (B, 512, H/32, W/32)."""
        return self.pyramid(image)[1]

    def pyramid(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, 1, H, W) to the two last scales of features, (B, 256, H/16, W/16) and (B, 512, H/32, W/32)."""
        x = self.maxpool(self.act(self.bn1(self.conv1(image))))
        fine = self.layer3(self.layer2(self.layer1(x)))
        return fine, self.layer4(fine)

    def classify(self, coarse: Tensor) -> Tensor:
        """Map the last feature maps (B, 512, H/32, W/32) to logits (B,)."""
        return self.fc(coarse.mean(dim=(2, 3)))[:, 0]  # type: ignore[no-any-return, misc]

    def read(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logit and its class activation map.

        The network ends in global average pooling and one linear layer, so the weighted sum of the last feature maps is
        exact: its mean plus the bias is the logit (Zhou et al., CVPR 2016).

        Parameters
        ----------
        image : Tensor
            (B, 1, H, W) float32, preprocessed.

        Returns
        -------
        tuple of Tensor
            Logits (B,) and maps (B, H/32, W/32), both float32.
        """
        maps_bchw = self.features(image)
        last: nn.Linear = self.get_submodule("fc")  # type: ignore[assignment]
        activation_bhw = torch.einsum("bchw,c->bhw", maps_bchw, last.weight[0])
        return activation_bhw.mean(dim=(1, 2)) + last.bias[0], activation_bhw


class LungNet(UNet):
    """Small U-Net (Ronneberger et al., MICCAI 2015) from a film to the logit of each pixel being of a lung field.

    Maps (B, 1, H, W) to (B, 1, H, W), H and W multiples of 16.
    """

    def __init__(self) -> None:
        super().__init__(
            spatial_dims=2,
            in_channels=1,
            out_channels=1,
            channels=(16, 32, 64, 96, 128),
            strides=(2, 2, 2, 2),
            num_res_units=1,
            norm="BATCH",
        )
