// SPDX-License-Identifier: MIT
pragma solidity ^0.8.28;

import {Vm} from "forge-std/Vm.sol";

/// @notice EIP-712 driven by type strings alone: hashes messages read from JSON, and makes up messages.
/// @dev Shares no line with the contracts or with the TypeScript sources, which is what makes it a check of both.
library TypedData {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    struct Field {
        string kind;
        string name;
    }

    string private constant CLAIM_ENTRY =
        "ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)";

    error UnknownType(string name);
    error UnknownKind(string kind);

    function encodeType(string memory name) internal pure returns (string memory) {
        bytes32 key = keccak256(bytes(name));
        if (key == keccak256("ChannelConfig")) {
            return "ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt)";
        }
        if (key == keccak256("Voucher")) return "Voucher(bytes32 channelId,uint128 maxClaimableAmount)";
        if (key == keccak256("Refund")) return "Refund(bytes32 channelId,uint256 nonce,uint128 amount)";
        if (key == keccak256("ClaimBatch")) {
            return string.concat("ClaimBatch(ClaimEntry[] claims)", CLAIM_ENTRY);
        }
        if (key == keccak256("ReceiveWithAuthorization") || key == keccak256("TransferWithAuthorization")) {
            return string.concat(
                name,
                "(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
            );
        }
        if (key == keccak256("Permit")) {
            return "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)";
        }
        if (key == keccak256("Offer")) {
            return "Offer(bytes32 modelHash,address payTo,uint128 priceIn,uint128 priceCached,uint128 priceOut,uint128 fixedPrice,uint64 maxContext,uint64 maxOutput,uint40 validUntil,bytes32 detailsHash)";
        }
        if (key == keccak256("Request")) {
            return "Request(bytes32 channelId,bytes32 requestId,bytes32 bodyHash,bytes32 offerHash,uint128 ceiling,uint40 admitBy)";
        }
        if (key == keccak256("Receipt")) {
            return "Receipt(bytes32 channelId,bytes32 requestId,bytes32 offerHash,bytes32 responseHash,uint64 inputTokens,uint64 cachedTokens,uint64 outputTokens,uint128 charged,uint128 cumulative,uint40 completedAt)";
        }
        revert UnknownType(name);
    }

    /// @notice The digest of the case at `path`: an object with `type`, `domain` and `message`.
    function digest(string memory json, string memory path) internal view returns (bytes32) {
        string memory domain = string.concat(path, ".domain");
        bytes32 separator = keccak256(
            abi.encode(
                keccak256(
                    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
                ),
                keccak256(bytes(vm.parseJsonString(json, string.concat(domain, ".name")))),
                keccak256(bytes(vm.parseJsonString(json, string.concat(domain, ".version")))),
                vm.parseJsonUint(json, string.concat(domain, ".chainId")),
                vm.parseJsonAddress(json, string.concat(domain, ".verifyingContract"))
            )
        );
        string memory name = vm.parseJsonString(json, string.concat(path, ".type"));
        bytes32 structHash = hashStruct(name, json, string.concat(path, ".message"));
        return keccak256(abi.encodePacked(hex"1901", separator, structHash));
    }

    function hashStruct(string memory name, string memory json, string memory path)
        private
        view
        returns (bytes32)
    {
        bytes32 typehash = keccak256(bytes(encodeType(name)));
        if (keccak256(bytes(name)) != keccak256("ClaimBatch")) {
            return keccak256(abi.encodePacked(typehash, encodeFields(fieldsOf(name), json, path)));
        }
        bytes memory entries;
        Field[] memory fields = fieldsOf("ClaimEntry");
        for (uint256 i = 0;; ++i) {
            string memory entry = string.concat(path, ".claims[", vm.toString(i), "]");
            if (!vm.keyExistsJson(json, entry)) break;
            bytes memory encoded =
                abi.encodePacked(keccak256(bytes(CLAIM_ENTRY)), encodeFields(fields, json, entry));
            entries = abi.encodePacked(entries, keccak256(encoded));
        }
        return keccak256(abi.encodePacked(typehash, keccak256(entries)));
    }

    function encodeFields(Field[] memory fields, string memory json, string memory path)
        private
        view
        returns (bytes memory encoded)
    {
        for (uint256 i = 0; i < fields.length; ++i) {
            string memory field = string.concat(path, ".", fields[i].name);
            bytes1 initial = bytes(fields[i].kind)[0];
            bytes32 word;
            if (initial == "a") word = bytes32(uint256(uint160(vm.parseJsonAddress(json, field))));
            else if (initial == "b") word = vm.parseJsonBytes32(json, field);
            else if (initial == "u") word = bytes32(vm.parseJsonUint(json, field));
            else revert UnknownKind(fields[i].kind);
            encoded = abi.encodePacked(encoded, word);
        }
    }

    /// @notice A message of the type as JSON text, with values that fill their fields and follow from `seed` alone.
    function makeUp(string memory name, uint256 seed) internal pure returns (string memory) {
        if (keccak256(bytes(name)) != keccak256("ClaimBatch")) return makeUpFields(fieldsOf(name), seed);
        string memory entries = "";
        for (uint256 i = 0; i <= seed % 3; ++i) {
            string memory entry =
                makeUpFields(fieldsOf("ClaimEntry"), uint256(keccak256(abi.encode(seed, i))));
            entries = string.concat(entries, i == 0 ? "" : ", ", entry);
        }
        return string.concat('{ "claims": [', entries, "] }");
    }

    function makeUpFields(Field[] memory fields, uint256 seed) private pure returns (string memory json) {
        for (uint256 i = 0; i < fields.length; ++i) {
            bytes32 word = keccak256(abi.encode(fields[i].name, seed));
            string memory value = makeUpValue(fields[i].kind, word);
            json = string.concat(json, i == 0 ? "" : ", ", '"', fields[i].name, '": "', value, '"');
        }
        return string.concat("{ ", json, " }");
    }

    function makeUpValue(string memory kind, bytes32 word) private pure returns (string memory) {
        bytes1 initial = bytes(kind)[0];
        if (initial == "a") return vm.toString(address(uint160(uint256(word))));
        if (initial == "b") return vm.toString(word);
        if (initial != "u") revert UnknownKind(kind);
        uint256 bits = vm.parseUint(vm.replace(kind, "uint", ""));
        return vm.toString(uint256(word) >> (256 - bits));
    }

    function fieldsOf(string memory name) private pure returns (Field[] memory fields) {
        bool isEntry = keccak256(bytes(name)) == keccak256("ClaimEntry");
        string memory text = isEntry ? CLAIM_ENTRY : encodeType(name);
        text = vm.replace(vm.split(text, "(")[1], ")", "");
        string[] memory list = vm.split(text, ",");
        fields = new Field[](list.length);
        for (uint256 i = 0; i < list.length; ++i) {
            string[] memory pair = vm.split(list[i], " ");
            fields[i] = Field({kind: pair[0], name: pair[1]});
        }
    }
}
