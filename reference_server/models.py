"""The bodies that the API takes and gives, as pydantic models; the OpenAPI document is written from them."""

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

Money = Annotated[str, Field(pattern=r"^-?[0-9]{1,12}\.[0-9]{2,4}$", examples=["101.50"])]
Price = Annotated[
    str, Field(pattern=r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,4})?$", description="Above zero.", examples=["101.50"])
]
Quantity = Annotated[
    str, Field(pattern=r"^([1-9][0-9]{0,5}|1000000)$", description="From 1 to 1000000.", examples=["10"])
]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-02T09:30:00.000000Z"])]
Side = Literal["buy", "sell"]
Kind = Literal["limit", "market"]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
Language = Annotated[str, Field(pattern=r"^[a-z]{2}$")]
Priced = TypeVar("Priced", "OrderRequest", "OrderChange")
Item = TypeVar("Item")


class Input(BaseModel):
    """A body of a request: types are exact, unknown members are ignored."""

    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)


class OrderRequest(Input):
    """A limit order needs a price; a market order is executed at once at the instrument's reference price."""

    client_order_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
    symbol: Annotated[str, Field(pattern=r"^[A-Z0-9.]{1,12}$")]
    side: Side
    quantity: Quantity
    type: Kind = "limit"
    price: Price | None = None

    @model_validator(mode="after")
    def priced(self) -> "OrderRequest":
        if self.type == "limit" and self.price is None:
            raise ValueError("a limit order needs a price")
        return above_zero(self)


class OrderChange(Input):
    """At least one of the two."""

    price: Price | None = None
    quantity: Quantity | None = None

    @model_validator(mode="after")
    def changes(self) -> "OrderChange":
        if self.price is None and self.quantity is None:
            raise ValueError("price or quantity is needed")
        return above_zero(self)


def above_zero(order: Priced) -> Priced:
    """Refuses a price of zero, however it is spelled."""
    if order.price is not None and not order.price.strip("0."):
        raise ValueError("the price must be above zero")
    return order


class Preferences(Input):
    """The account's preferences, whole."""

    language: Language
    currency: Currency
    notifications: bool


class PreferencesChange(Input):
    """The members that are to change."""

    language: Language | None = None
    currency: Currency | None = None
    notifications: bool | None = None


class Account(BaseModel):
    id: str
    name: str
    currency: str
    status: Literal["active"]


class Balance(BaseModel):
    currency: str
    booked: Money
    available: Money


class Balances(BaseModel):
    account: str
    balances: list[Balance]


class Position(BaseModel):
    symbol: str
    quantity: str
    average_price: Money
    market_value: Money


class Positions(BaseModel):
    account: str
    positions: list[Position]


class Transaction(BaseModel):
    id: str
    account: str
    booked_at: Time
    amount: Money
    currency: str
    kind: str


class Order(BaseModel):
    id: str
    client_order_id: str
    account: str
    symbol: str
    side: Side
    type: Kind
    quantity: str
    price: Money
    status: Literal["open", "cancelled", "filled"]
    revision: int
    created_at: Time


class Execution(BaseModel):
    id: str
    order: str
    quantity: str
    price: Money
    executed_at: Time


class Event(BaseModel):
    channel: Literal["orders"]
    epoch: str
    seq: int
    prev: int
    event: str
    at: Time
    kind: Literal["submitted", "amended", "cancelled", "filled"]
    order: Order


class Executions(BaseModel):
    order: str
    executions: list[Execution]


class Instrument(BaseModel):
    symbol: str
    name: str
    currency: str
    lot_size: int
    reference_price: Money


class Accounts(BaseModel):
    accounts: list[Account]


class Page(BaseModel, Generic[Item]):
    """next_cursor is absent on the last page; total_estimate is the number of rows when the page was cut."""

    items: list[Item]
    next_cursor: str | None = None
    total_estimate: int


class Status(BaseModel):
    status: Literal["up"]
    time: Time


class Token(BaseModel):
    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int


class TokenError(BaseModel):
    """RFC 6749 section 5.2."""

    error: Literal["invalid_request", "invalid_client", "unsupported_grant_type"]
    error_description: str


class FaultyMember(BaseModel):
    pointer: str
    message: str


class Problem(BaseModel):
    """RFC 9457, with a code for programs and the correlation id of the reply's header."""

    type: Annotated[str, Field(json_schema_extra={"format": "uri"})]
    title: str
    status: int
    detail: str
    code: str
    correlation_id: Annotated[str, Field(json_schema_extra={"format": "uuid"})]
    errors: list[FaultyMember] = []


class Document(BaseModel):
    """An OpenAPI document."""

    openapi: str
