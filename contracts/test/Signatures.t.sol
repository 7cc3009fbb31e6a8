// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {Signatures} from "../src/libraries/Signatures.sol";

/// @notice The edge between the two halves of the curve, which no key can be made to sign at: the signer of a made-up
/// signature is whoever it recovers to.
contract SignaturesTest is Test {
    bytes32 private constant HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0;
    bytes32 private constant DIGEST = keccak256("any message");
    /// The curve's generator is a point, so its x is an r that recovers.
    bytes32 private constant R = 0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798;

    function test_theGreatestLowSIsTaken() public view {
        address signer = ecrecover(DIGEST, 27, R, HALF_ORDER);
        assertNotEq(signer, address(0));
        assertEq(this.recover(HALF_ORDER), signer);
        assertTrue(Signatures.isValid(signer, DIGEST, signatureWith(HALF_ORDER)));
    }

    function test_theLeastHighSIsRefused() public {
        bytes32 s = bytes32(uint256(HALF_ORDER) + 1);
        address signer = ecrecover(DIGEST, 27, R, s);
        assertNotEq(signer, address(0));
        assertFalse(Signatures.isValid(signer, DIGEST, signatureWith(s)));
        vm.expectRevert(abi.encodeWithSelector(Signatures.ECDSAInvalidSignatureS.selector, s));
        this.recover(s);
    }

    function recover(bytes32 s) external pure returns (address) {
        return Signatures.recover(DIGEST, signatureWith(s));
    }

    function signatureWith(bytes32 s) private pure returns (bytes memory) {
        return abi.encodePacked(R, s, uint8(27));
    }
}
