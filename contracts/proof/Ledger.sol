// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// The arithmetic of ChannelEscrow without signatures, tokens and hashes: two channels of one receiver, each entry point
/// with its guards and its writes as they stand in the contract. `npm run prove` has a solver show, by induction, that no
/// sequence of calls with whatever arguments breaks what `holds` says: an empty ledger satisfies it, and every call that
/// begins in a state which satisfies it ends in one. Functions and conditions carry the contract's names, so that a
/// change there is seen to be missing here.
contract Ledger {
    // Plain variables and not structs: the solver forgets what it knew of storage that is reached by a reference.
    uint128 private balanceA;
    uint128 private claimedA;
    uint128 private pendingA;
    bool private isPendingA;
    uint128 private balanceB;
    uint128 private claimedB;
    uint128 private pendingB;
    bool private isPendingB;
    uint128 private receiverClaimed;
    uint128 private receiverSettled;

    // What the escrow holds of the token, and all that ever came and went. The contract itself knows none of these.
    uint256 private held;
    uint256 private deposited;
    uint256 private paidToPayers;
    uint256 private paidToReceiver;

    constructor() {
        assert(holds());
    }

    modifier keepsTheBooks() {
        require(holds());
        _;
        assert(holds());
    }

    function holds() private view returns (bool) {
        // Conservation: nothing appears and nothing is lost.
        return deposited <= type(uint128).max && held <= deposited && paidToPayers <= deposited
            && paidToReceiver <= deposited && deposited == held + paidToPayers + paidToReceiver
            // Solvency: what all sides may still take is exactly what is there.
            && held + receiverSettled == uint256(balanceA) + balanceB
            && receiverClaimed == uint256(claimedA) + claimedB && receiverSettled <= receiverClaimed
            && paidToReceiver == receiverSettled
            // Claims never exceed what was deposited, so they never block the payer's way out.
            && claimedA <= balanceA && claimedB <= balanceB;
    }

    function deposit(bool isA, uint128 amount) external keepsTheBooks {
        require(amount != 0);
        uint128 oldBalance = isA ? balanceA : balanceB;
        require(amount <= type(uint128).max - oldBalance);
        // No more of a token can be deposited than there is of it.
        require(amount <= type(uint128).max - deposited);
        setBalance(isA, oldBalance + amount);
        held += amount;
        deposited += amount;
    }

    function claim(bool isA, uint128 totalClaimed, uint128 ceiling) external keepsTheBooks {
        uint128 claimedBefore = isA ? claimedA : claimedB;
        if (totalClaimed <= claimedBefore) return;
        require(totalClaimed <= ceiling);
        require(totalClaimed <= (isA ? balanceA : balanceB));
        if (isA) claimedA = totalClaimed;
        else claimedB = totalClaimed;
        receiverClaimed += totalClaimed - claimedBefore;
    }

    function settle() external keepsTheBooks {
        uint128 amount = receiverClaimed - receiverSettled;
        if (amount == 0) return;
        receiverSettled = receiverClaimed;
        held -= amount;
        paidToReceiver += amount;
    }

    function initiateWithdraw(bool isA, uint128 amount) external keepsTheBooks {
        require(amount != 0);
        require(!(isA ? isPendingA : isPendingB));
        require(amount <= (isA ? balanceA - claimedA : balanceB - claimedB));
        setPending(isA, amount, true);
    }

    function finalizeWithdraw(bool isA) external keepsTheBooks {
        require(isA ? isPendingA : isPendingB);
        uint128 pending = isA ? pendingA : pendingB;
        uint128 free = isA ? balanceA - claimedA : balanceB - claimedB;
        uint128 amount = pending < free ? pending : free;
        setPending(isA, 0, false);
        setBalance(isA, (isA ? balanceA : balanceB) - amount);
        held -= amount;
        paidToPayers += amount;
    }

    function refund(bool isA, uint128 requested) external keepsTheBooks {
        require(requested != 0);
        uint128 free = isA ? balanceA - claimedA : balanceB - claimedB;
        uint128 amount = requested < free ? requested : free;
        if (amount == 0) return;
        if (isA ? isPendingA : isPendingB) {
            uint128 pending = isA ? pendingA : pendingB;
            if (amount >= pending) setPending(isA, 0, false);
            else setPending(isA, pending - amount, true);
        }
        setBalance(isA, (isA ? balanceA : balanceB) - amount);
        held -= amount;
        paidToPayers += amount;
    }

    function setBalance(bool isA, uint128 balance) private {
        if (isA) balanceA = balance;
        else balanceB = balance;
    }

    function setPending(bool isA, uint128 amount, bool isPending) private {
        if (isA) (pendingA, isPendingA) = (amount, isPending);
        else (pendingB, isPendingB) = (amount, isPending);
    }
}
