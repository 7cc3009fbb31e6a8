// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IDepositCollector} from "../../src/interfaces/IDepositCollector.sol";
import {TestUsdc} from "../../src/TestUsdc.sol";

/// @notice Brings tokens by allowance, and more or fewer of them than it should when told so.
contract AllowanceCollector is IDepositCollector {
    int256 public deviation;

    error Refused(bytes32 channelId);

    bool public refuses;

    function deviateBy(int256 amount) external {
        deviation = amount;
    }

    function refuse() external {
        refuses = true;
    }

    function collect(address payer, address token, uint256 amount, bytes32 channelId, bytes calldata)
        external
    {
        if (refuses) revert Refused(channelId);
        uint256 actual = uint256(int256(amount) + deviation);
        if (actual != 0) TestUsdc(token).transferFrom(payer, msg.sender, actual);
    }
}

/// @notice Brings the tokens as it should, but calls back into the escrow first.
contract ReentrantCollector is IDepositCollector {
    bytes private attack;
    bool public attackSucceeded;
    bytes public attackResult;

    function attackWith(bytes calldata callData) external {
        attack = callData;
    }

    function collect(address payer, address token, uint256 amount, bytes32, bytes calldata) external {
        (attackSucceeded, attackResult) = msg.sender.call(attack);
        TestUsdc(token).transferFrom(payer, msg.sender, amount);
    }
}
