// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Test} from "forge-std/Test.sol";
import {ChannelEscrow} from "../src/ChannelEscrow.sol";
import {IChannelEscrow} from "../src/interfaces/IChannelEscrow.sol";
import {TestUsdc} from "../src/TestUsdc.sol";
import {TypedData} from "./base/TypedData.sol";

/// @notice The JSON vectors that TypeScript reads too: what one side signs, the other accepts.
/// @dev `FOUNDRY_PROFILE=vectors WRITE_VECTORS=true forge test --match-contract VectorsTest` writes forge's own file.
contract VectorsTest is Test {
    string private constant DIRECTORY = "test/vectors/";
    address private constant CANONICAL_ESCROW = 0x4020074e9dF2ce1deE5A9C1b5c3f541D02a10003;
    address private constant BASE_SEPOLIA_USDC = 0x036CbD53842c5426634e7929541eC2318f3dCF7e;
    string private constant DEV_MNEMONIC = "test test test test test test test test test test test junk";

    ChannelEscrow private escrow;

    function setUp() public {
        escrow = ChannelEscrow(CANONICAL_ESCROW);
        vm.etch(CANONICAL_ESCROW, address(new ChannelEscrow()).code);
    }

    // ------------------------------------------------------------------------------------------------ conformance

    function test_conformance_ofIds_digestsAndSignatures() public {
        string memory json = vm.readFile(string.concat(DIRECTORY, "batch-settlement.json"));
        assertEq(vm.parseJsonAddress(json, ".domain.verifyingContract"), CANONICAL_ESCROW);
        vm.chainId(vm.parseJsonUint(json, ".domain.chainId"));
        IChannelEscrow.ChannelConfig memory config = _config(json, ".config");
        bytes32 id = vm.parseJsonBytes32(json, ".channelId");
        uint128 ceiling = uint128(vm.parseJsonUint(json, ".voucher.message.maxClaimableAmount"));

        assertEq(escrow.getChannelId(config), id, "channelId");
        bytes32 voucherDigest = escrow.getVoucherDigest(id, ceiling);
        assertEq(voucherDigest, vm.parseJsonBytes32(json, ".voucher.digest"), "voucher");
        assertEq(
            _recover(voucherDigest, vm.parseJsonBytes(json, ".voucher.signature")), config.payerAuthorizer
        );
        assertEq(
            escrow.getRefundDigest(
                id,
                vm.parseJsonUint(json, ".refund.message.nonce"),
                uint128(vm.parseJsonUint(json, ".refund.message.amount"))
            ),
            vm.parseJsonBytes32(json, ".refund.digest"),
            "refund"
        );
        assertEq(
            escrow.getClaimBatchDigest(_claimRows(json, config)),
            vm.parseJsonBytes32(json, ".claimBatch.digest"),
            "claimBatch"
        );
        assertEq(
            keccak256(abi.encode(id, vm.parseJsonUint(json, ".deposit.salt"))),
            vm.parseJsonBytes32(json, ".deposit.nonce"),
            "deposit nonce"
        );
    }

    function test_conformance_ofTypehashes() public view {
        string memory json = vm.readFile(string.concat(DIRECTORY, "batch-settlement.json"));
        assertEq(escrow.CHANNEL_CONFIG_TYPEHASH(), vm.parseJsonBytes32(json, ".typehashes.ChannelConfig"));
        assertEq(escrow.VOUCHER_TYPEHASH(), vm.parseJsonBytes32(json, ".typehashes.Voucher"));
        assertEq(escrow.REFUND_TYPEHASH(), vm.parseJsonBytes32(json, ".typehashes.Refund"));
        assertEq(escrow.CLAIM_BATCH_TYPEHASH(), vm.parseJsonBytes32(json, ".typehashes.ClaimBatch"));
        assertEq(escrow.CLAIM_ENTRY_TYPEHASH(), vm.parseJsonBytes32(json, ".typehashes.ClaimEntry"));
    }

    function test_conformance_voucherIsClaimable() public {
        string memory json = vm.readFile(string.concat(DIRECTORY, "batch-settlement.json"));
        vm.chainId(8453);
        IChannelEscrow.ChannelConfig memory config = _config(json, ".config");
        bytes32 id = vm.parseJsonBytes32(json, ".channelId");
        vm.store(CANONICAL_ESCROW, keccak256(abi.encode(id, uint256(0))), bytes32(uint256(5000)));
        vm.prank(config.receiver);
        escrow.claim(_claimRows(json, config));
        (uint128 balance, uint128 totalClaimed) = escrow.channels(id);
        assertEq(balance, 5000);
        assertEq(totalClaimed, 700);
    }

    // ------------------------------------------------------------------------------------------------------ types

    function test_types_areTheSameStrings() public view {
        string memory json = vm.readFile(string.concat(DIRECTORY, "openseed-types.json"));
        string[] memory names = _typeNames();
        assertEq(vm.parseJsonKeys(json, ".types").length, names.length);
        for (uint256 i = 0; i < names.length; ++i) {
            string memory path = string.concat(".types.", names[i]);
            string memory encodeType = TypedData.encodeType(names[i]);
            assertEq(vm.parseJsonString(json, string.concat(path, ".encodeType")), encodeType);
            assertEq(
                vm.parseJsonBytes32(json, string.concat(path, ".typehash")), keccak256(bytes(encodeType))
            );
        }
    }

    function test_typeSamples_verify() public view {
        assertEq(_verify("openseed-types.json"), _typeNames().length);
    }

    function test_signedByTypescript_verifies() public view {
        assertEq(_verify("signed-by-typescript.json"), 3 * _typeNames().length);
    }

    /// @dev The escrow's own functions against what ethers computed, wherever the message is one the escrow hashes.
    function test_escrow_agreesWithTypescript() public {
        string memory json = vm.readFile(string.concat(DIRECTORY, "signed-by-typescript.json"));
        uint256 compared;
        for (uint256 i = 0; vm.keyExistsJson(json, _at(i)); ++i) {
            string memory message = string.concat(_at(i), ".message");
            bytes32 name = keccak256(bytes(vm.parseJsonString(json, string.concat(_at(i), ".type"))));
            bytes32 digest = vm.parseJsonBytes32(json, string.concat(_at(i), ".digest"));
            vm.chainId(vm.parseJsonUint(json, string.concat(_at(i), ".domain.chainId")));
            if (name == keccak256("ChannelConfig")) {
                assertEq(escrow.getChannelId(_config(json, message)), digest);
                ++compared;
            } else if (name == keccak256("Voucher")) {
                bytes32 id = vm.parseJsonBytes32(json, string.concat(message, ".channelId"));
                uint256 ceiling = vm.parseJsonUint(json, string.concat(message, ".maxClaimableAmount"));
                assertEq(escrow.getVoucherDigest(id, uint128(ceiling)), digest);
                ++compared;
            } else if (name == keccak256("Refund")) {
                bytes32 id = vm.parseJsonBytes32(json, string.concat(message, ".channelId"));
                uint256 nonce = vm.parseJsonUint(json, string.concat(message, ".nonce"));
                uint256 amount = vm.parseJsonUint(json, string.concat(message, ".amount"));
                assertEq(escrow.getRefundDigest(id, nonce, uint128(amount)), digest);
                ++compared;
            }
        }
        assertEq(compared, 9);
    }

    function test_token_acceptsWhatTypescriptSigned() public {
        string memory json = vm.readFile(string.concat(DIRECTORY, "openseed-types.json"));
        vm.chainId(84532);
        vm.warp(1_800_000_000);
        vm.etch(BASE_SEPOLIA_USDC, address(new TestUsdc()).code);
        TestUsdc token = TestUsdc(BASE_SEPOLIA_USDC);
        for (uint256 i = 0; vm.keyExistsJson(json, _at(i)); ++i) {
            bytes32 name = keccak256(bytes(vm.parseJsonString(json, string.concat(_at(i), ".type"))));
            string memory message = string.concat(_at(i), ".message.");
            bytes memory signature = vm.parseJsonBytes(json, string.concat(_at(i), ".signature"));
            if (name == keccak256("Permit")) _permit(token, json, message, signature);
            else if (name == keccak256("ReceiveWithAuthorization")) _receive(token, json, message, signature);
        }
        assertEq(
            token.balanceOf(vm.parseJsonAddress(json, _messageOf(json, "ReceiveWithAuthorization"))), 10_000
        );
    }

    // ------------------------------------------------------------------------------------------------ signed here

    function test_signedByForge_isUpToDate() public {
        string memory path = string.concat(DIRECTORY, "signed-by-forge.json");
        string memory text = _signAll();
        if (vm.envOr("WRITE_VECTORS", false)) vm.writeFile(path, text);
        assertEq(vm.readFile(path), text);
        assertEq(_verify("signed-by-forge.json"), 3 * _typeNames().length);
    }

    function _signAll() private view returns (string memory json) {
        string[] memory names = _typeNames();
        json =
            '{\n  "about": "Messages made up and signed by forge; TypeScript recovers the signers.",\n  "cases": [';
        for (uint256 i = 0; i < names.length; ++i) {
            for (uint32 j = 0; j < 3; ++j) {
                json = string.concat(json, i + j == 0 ? "\n    " : ",\n    ", _signOne(names[i], j));
            }
        }
        return string.concat(json, "\n  ]\n}\n");
    }

    function _signOne(string memory name, uint32 index) private view returns (string memory json) {
        string memory unsigned = string.concat(
            '"type": "',
            name,
            '", "domain": ',
            _domainOf(name, index),
            ', "message": ',
            TypedData.makeUp(name, index)
        );
        bytes32 digest = TypedData.digest(string.concat("{ ", unsigned, " }"), "");
        uint256 key = vm.deriveKey(DEV_MNEMONIC, index);
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        json = string.concat("{ ", unsigned, ', "digest": "', vm.toString(digest), '", "signer": "');
        return string.concat(
            json,
            vm.toString(vm.addr(key)),
            '", "signature": "',
            vm.toString(abi.encodePacked(r, s, v)),
            '" }'
        );
    }

    function _domainOf(string memory name, uint32 index) private pure returns (string memory) {
        bytes32 key = keccak256(bytes(name));
        bool ofEscrow = key == keccak256("ChannelConfig") || key == keccak256("Voucher")
            || key == keccak256("Refund") || key == keccak256("ClaimBatch");
        bool ofMarket =
            key == keccak256("Offer") || key == keccak256("Request") || key == keccak256("Receipt");
        string memory domainName = ofEscrow ? "x402 Batch Settlement" : ofMarket ? "OpenSeed" : "USDC";
        address verifyingContract = ofEscrow || ofMarket ? CANONICAL_ESCROW : BASE_SEPOLIA_USDC;
        uint256 chainId = [uint256(31337), 84532, 8453][index];
        return string.concat(
            '{ "name": "',
            domainName,
            '", "version": "',
            ofEscrow || ofMarket ? "1" : "2",
            '", "chainId": ',
            vm.toString(chainId),
            ', "verifyingContract": "',
            vm.toString(verifyingContract),
            '" }'
        );
    }

    // ---------------------------------------------------------------------------------------------------- reading

    /// @dev Recomputes each digest here and recovers its signer; returns how many there were.
    function _verify(string memory file) private view returns (uint256 count) {
        string memory json = vm.readFile(string.concat(DIRECTORY, file));
        for (; vm.keyExistsJson(json, _at(count)); ++count) {
            string memory path = _at(count);
            bytes32 digest = TypedData.digest(json, path);
            assertEq(digest, vm.parseJsonBytes32(json, string.concat(path, ".digest")), path);
            bytes memory signature = vm.parseJsonBytes(json, string.concat(path, ".signature"));
            address signer = vm.parseJsonAddress(json, string.concat(path, ".signer"));
            assertEq(_recover(digest, signature), signer, path);
        }
    }

    function _recover(bytes32 digest, bytes memory signature) private pure returns (address) {
        assertEq(signature.length, 65);
        bytes32 r;
        bytes32 s;
        assembly ("memory-safe") {
            r := mload(add(signature, 0x20))
            s := mload(add(signature, 0x40))
        }
        return ecrecover(digest, uint8(signature[64]), r, s);
    }

    function _at(uint256 index) private pure returns (string memory) {
        return string.concat(".cases[", vm.toString(index), "]");
    }

    function _typeNames() private pure returns (string[] memory) {
        return vm.split(
            "ChannelConfig,Voucher,Refund,ClaimBatch,ReceiveWithAuthorization,TransferWithAuthorization,Permit,Offer,Request,Receipt",
            ","
        );
    }

    function _config(string memory json, string memory path)
        private
        pure
        returns (IChannelEscrow.ChannelConfig memory)
    {
        return IChannelEscrow.ChannelConfig({
            payer: vm.parseJsonAddress(json, string.concat(path, ".payer")),
            payerAuthorizer: vm.parseJsonAddress(json, string.concat(path, ".payerAuthorizer")),
            receiver: vm.parseJsonAddress(json, string.concat(path, ".receiver")),
            receiverAuthorizer: vm.parseJsonAddress(json, string.concat(path, ".receiverAuthorizer")),
            token: vm.parseJsonAddress(json, string.concat(path, ".token")),
            withdrawDelay: uint40(vm.parseJsonUint(json, string.concat(path, ".withdrawDelay"))),
            salt: vm.parseJsonBytes32(json, string.concat(path, ".salt"))
        });
    }

    function _claimRows(string memory json, IChannelEscrow.ChannelConfig memory config)
        private
        pure
        returns (IChannelEscrow.VoucherClaim[] memory rows)
    {
        string memory entry = ".claimBatch.message.claims[0]";
        rows = new IChannelEscrow.VoucherClaim[](1);
        rows[0] = IChannelEscrow.VoucherClaim({
            voucher: IChannelEscrow.Voucher({
                channel: config,
                maxClaimableAmount: uint128(
                    vm.parseJsonUint(json, string.concat(entry, ".maxClaimableAmount"))
                )
            }),
            signature: vm.parseJsonBytes(json, ".voucher.signature"),
            totalClaimed: uint128(vm.parseJsonUint(json, string.concat(entry, ".totalClaimed")))
        });
    }

    function _messageOf(string memory json, string memory name) private view returns (string memory) {
        for (uint256 i = 0; vm.keyExistsJson(json, _at(i)); ++i) {
            string memory found = vm.parseJsonString(json, string.concat(_at(i), ".type"));
            if (keccak256(bytes(found)) == keccak256(bytes(name))) {
                return string.concat(_at(i), ".message.to");
            }
        }
        revert(name);
    }

    function _receive(TestUsdc token, string memory json, string memory message, bytes memory signature)
        private
    {
        address from = vm.parseJsonAddress(json, string.concat(message, "from"));
        address to = vm.parseJsonAddress(json, string.concat(message, "to"));
        uint256 value = vm.parseJsonUint(json, string.concat(message, "value"));
        token.mint(from, value);
        vm.prank(to);
        token.receiveWithAuthorization(
            from,
            to,
            value,
            vm.parseJsonUint(json, string.concat(message, "validAfter")),
            vm.parseJsonUint(json, string.concat(message, "validBefore")),
            vm.parseJsonBytes32(json, string.concat(message, "nonce")),
            signature
        );
    }

    function _permit(TestUsdc token, string memory json, string memory message, bytes memory signature)
        private
    {
        address owner = vm.parseJsonAddress(json, string.concat(message, "owner"));
        address spender = vm.parseJsonAddress(json, string.concat(message, "spender"));
        uint256 value = vm.parseJsonUint(json, string.concat(message, "value"));
        uint256 deadline = vm.parseJsonUint(json, string.concat(message, "deadline"));
        bytes32 r;
        bytes32 s;
        assembly ("memory-safe") {
            r := mload(add(signature, 0x20))
            s := mload(add(signature, 0x40))
        }
        token.permit(owner, spender, value, deadline, uint8(signature[64]), r, s);
        assertEq(token.allowance(owner, spender), value);
    }
}
