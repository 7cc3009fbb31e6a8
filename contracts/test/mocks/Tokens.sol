// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

/// @notice The least that a collector by allowance and the escrow need, with a hook for what a token can do wrong.
abstract contract BareToken {
    mapping(address account => uint256) public balanceOf;

    function mint(address to, uint256 value) external {
        balanceOf[to] += value;
    }

    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        _move(from, to, value);
        return true;
    }

    function _move(address from, address to, uint256 value) internal virtual {
        balanceOf[from] -= value;
        balanceOf[to] += value;
    }
}

/// @notice Calls back into whoever sends it, before it moves anything.
contract ReentrantToken is BareToken {
    bytes private attack;
    bool public attackSucceeded;
    bytes public attackResult;

    function attackWith(bytes calldata callData) external {
        attack = callData;
    }

    function transfer(address to, uint256 value) external returns (bool) {
        (attackSucceeded, attackResult) = msg.sender.call(attack);
        _move(msg.sender, to, value);
        return true;
    }
}

/// @notice Keeps one unit of every transfer.
contract FeeToken is BareToken {
    function _move(address from, address to, uint256 value) internal override {
        balanceOf[from] -= value;
        balanceOf[to] += value - 1;
    }
}

/// @notice Answers nothing, as some early tokens do.
contract SilentToken is BareToken {
    function transfer(address to, uint256 value) external {
        _move(msg.sender, to, value);
    }
}

/// @notice Answers whatever word it was told to, and moves nothing.
contract RefusingToken is BareToken {
    uint256 private immutable ANSWER;

    constructor(uint256 answer) {
        ANSWER = answer;
    }

    function transfer(address, uint256) external view returns (uint256) {
        return ANSWER;
    }
}

/// @notice Answers 31 bytes, one short of a word, all of them zero.
contract ShortToken is BareToken {
    function transfer(address, uint256) external pure {
        assembly ("memory-safe") {
            mstore(0, 0)
            return(0, 31)
        }
    }
}

/// @notice Has a block list.
contract BlockingToken is BareToken {
    address private blocked;

    error Blocked(address account);

    function blockAccount(address account) external {
        blocked = account;
    }

    function transfer(address to, uint256 value) external returns (bool) {
        if (to == blocked) revert Blocked(to);
        _move(msg.sender, to, value);
        return true;
    }
}
