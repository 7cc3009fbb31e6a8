// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice What the escrow and the collector use of ERC-20.
interface IERC20 {
    function balanceOf(address account) external view returns (uint256);
    function transfer(address to, uint256 value) external returns (bool);
}
