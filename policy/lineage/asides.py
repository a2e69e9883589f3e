"""The node types that are no part of what is followed."""

from __future__ import annotations

from typing import Any

from ..sql.postgres_names import names
from .table import ASIDE, rule
from .value import UNSURE, Value

HANDLED_ABOVE = names(
    """
    Alias CTECycleClause CTESearchClause ColumnDef CommonTableExpr InferClause IntoClause LockingClause MergeWhenClause
    OnConflictClause ReturningClause RoleSpec WithClause RawStmt
    """
)
"""Read by the rule of what they are a part of."""

MADE_BY_THE_ANALYSER = names(
    """
    Aggref AlternativeSubPlan ArrayCoerceExpr ArrayExpr CallContext CaseTestExpr CoerceToDomain CoerceToDomainValue CoerceViaIO
    CollateExpr ConvertRowtypeExpr Expr FieldSelect FieldStore FromExpr FuncExpr InferenceElem InlineCodeBlock JsonConstructorExpr
    JsonExpr MergeAction OnConflictExpr OpExpr Param Query RTEPermissionInfo RangeTblEntry RangeTblFunction RangeTblRef
    RelabelType ReturningExpr RowCompareExpr RowMarkClause ScalarArrayOpExpr SetOperationStmt SortGroupClause SubPlan
    SubscriptingRef TableFunc TableSampleClause TargetEntry ValUnion Var WindowClause WindowFunc WindowFuncRunCondition
    WithCheckOption PLAssignStmt
    """
)
"""The grammar never makes them."""

OTHER_STATEMENTS = names(
    """
    ATAlterConstraint AccessPriv AlterCollationStmt AlterDatabaseRefreshCollStmt AlterDatabaseSetStmt AlterDatabaseStmt
    AlterDefaultPrivilegesStmt AlterDomainStmt AlterEnumStmt AlterEventTrigStmt AlterExtensionContentsStmt AlterExtensionStmt
    AlterFdwStmt AlterForeignServerStmt AlterFunctionStmt AlterObjectDependsStmt AlterObjectSchemaStmt AlterOpFamilyStmt
    AlterOperatorStmt AlterOwnerStmt AlterPolicyStmt AlterPublicationStmt AlterRoleSetStmt AlterRoleStmt AlterSeqStmt
    AlterStatsStmt AlterSubscriptionStmt AlterSystemStmt AlterTSConfigurationStmt AlterTSDictionaryStmt AlterTableCmd
    AlterTableMoveAllStmt AlterTableSpaceOptionsStmt AlterTableStmt AlterTypeStmt AlterUserMappingStmt CheckPointStmt
    ClosePortalStmt ClusterStmt CommentStmt CompositeTypeStmt Constraint ConstraintsSetStmt CreateAmStmt CreateCastStmt
    CreateConversionStmt CreateDomainStmt CreateEnumStmt CreateEventTrigStmt CreateExtensionStmt CreateFdwStmt
    CreateForeignServerStmt CreateForeignTableStmt CreateFunctionStmt CreateOpClassItem CreateOpClassStmt CreateOpFamilyStmt
    CreatePLangStmt CreatePolicyStmt CreatePublicationStmt CreateRangeStmt CreateRoleStmt CreateSchemaStmt CreateSeqStmt
    CreateStatsStmt CreateStmt CreateSubscriptionStmt CreateTableSpaceStmt CreateTransformStmt CreateTrigStmt
    CreateUserMappingStmt CreatedbStmt DeallocateStmt DefineStmt DiscardStmt DoStmt DropOwnedStmt DropRoleStmt DropStmt
    DropSubscriptionStmt DropTableSpaceStmt DropUserMappingStmt DropdbStmt FetchStmt FunctionParameter GrantRoleStmt GrantStmt
    ImportForeignSchemaStmt IndexStmt ListenStmt LoadStmt LockStmt NotifyStmt ObjectWithArgs PartitionBoundSpec PartitionCmd
    PartitionElem PartitionRangeDatum PartitionSpec PublicationObjSpec PublicationTable ReassignOwnedStmt RefreshMatViewStmt
    ReindexStmt RenameStmt ReplicaIdentityStmt ReturnStmt RuleStmt SecLabelStmt StatsElem TableLikeClause TransactionStmt
    TriggerTransition TruncateStmt UnlistenStmt VacuumRelation VacuumStmt VariableSetStmt
    """
)
"""Statements without rows of their own, and their parts; `disclosure` judges them by what they are."""


@rule(ASIDE, *HANDLED_ABOVE, *MADE_BY_THE_ANALYSER, *OTHER_STATEMENTS)
def unsure(_body: Any, *_more: Any) -> Value:
    """Where one stands in an expression all the same, its value may be anything."""
    return UNSURE
