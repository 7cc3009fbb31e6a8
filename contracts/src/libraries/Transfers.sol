// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {IERC20} from "../interfaces/IERC20.sol";

/// @title Transfers
/// @notice Token transfers that cannot fail silently.
library Transfers {
    /// @notice The token answered something else than true, or there is no token at this address.
    error SafeERC20FailedOperation(address token);

    /// @notice Transfers, with the token's own error when it reverts. A token that answers nothing is believed.
    /// @dev By hand, because a typed call refuses tokens that answer nothing and a generic one copies the answer.
    function send(address token, address to, uint256 value) internal {
        bytes4 selector = IERC20.transfer.selector;
        uint256 recipient = uint160(to);
        uint256 answerSize;
        uint256 answer;
        assembly ("memory-safe") {
            let data := mload(0x40)
            mstore(data, selector)
            mstore(add(data, 0x04), recipient)
            mstore(add(data, 0x24), value)
            if iszero(call(gas(), token, 0, data, 0x44, 0x00, 0x20)) {
                returndatacopy(data, 0, returndatasize())
                revert(data, returndatasize())
            }
            answerSize := returndatasize()
            answer := mload(0x00)
        }
        bool confirmed = answerSize == 0 ? token.code.length != 0 : answerSize >= 32 && answer == 1;
        if (!confirmed) revert SafeERC20FailedOperation(token);
    }
}
