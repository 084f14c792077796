//! What serde has of a caller's type, before it is known which columns it is for.

use serde::ser::{self, Serialize, SerializeMap, SerializeSeq, Serializer};
use std::fmt;

use super::Value;

/// A value of any form.
#[derive(Debug)]
pub(crate) enum Tree {
    Value(Value),
    List(Vec<Tree>),
    /// Names and values, in the order in which they came.
    Object(Vec<(String, Tree)>),
}

/// Why something has no such form; without its values.
#[derive(Debug)]
pub(crate) struct NoTree(String);

impl Tree {
    /// # Errors
    /// For a number beyond 64 bits, an object whose names are no texts, and what the type itself refuses.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Tree, NoTree> {
        value.serialize(Maker)
    }
}

/// As JSON.
impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Tree::Value(value) => value.serialize(serializer),
            Tree::List(list) => serializer.collect_seq(list),
            Tree::Object(members) => serializer.collect_map(members.iter().map(|(n, v)| (n, v))),
        }
    }
}

impl fmt::Display for NoTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoTree {}

impl ser::Error for NoTree {
    fn custom<T: fmt::Display>(_: T) -> NoTree {
        NoTree("its type refuses to be written".into())
    }
}

struct Maker;

/// A list, or an object, as it grows.
struct Growing {
    list: Vec<Tree>,
    members: Vec<(String, Tree)>,
    name: String,
    /// The variant of an enum that it is the value of.
    variant: Option<&'static str>,
}

impl Growing {
    fn new(variant: Option<&'static str>) -> Growing {
        Growing { list: Vec::new(), members: Vec::new(), name: String::new(), variant }
    }

    fn named(&self, tree: Tree) -> Tree {
        match self.variant {
            None => tree,
            Some(variant) => Tree::Object(vec![(variant.to_owned(), tree)]),
        }
    }
}

fn beyond() -> NoTree {
    NoTree("only a number of 64 bits can be kept".into())
}

macro_rules! values {
    ($($name:ident: $kind:ty;)*) => {
        $(fn $name(self, value: $kind) -> Result<Tree, NoTree> {
            Ok(Tree::Value(value.into()))
        })*
    };
}

macro_rules! whole_numbers {
    ($($name:ident: $kind:ty;)*) => {
        $(fn $name(self, value: $kind) -> Result<Tree, NoTree> {
            i64::try_from(value).map(|number| Tree::Value(number.into())).map_err(|_| beyond())
        })*
    };
}

impl Serializer for Maker {
    type Ok = Tree;
    type Error = NoTree;
    type SerializeSeq = Growing;
    type SerializeTuple = Growing;
    type SerializeTupleStruct = Growing;
    type SerializeTupleVariant = Growing;
    type SerializeMap = Growing;
    type SerializeStruct = Growing;
    type SerializeStructVariant = Growing;

    values! {
        serialize_bool: bool;
        serialize_f32: f32;
        serialize_f64: f64;
        serialize_str: &str;
    }

    whole_numbers! {
        serialize_i8: i8;
        serialize_i16: i16;
        serialize_i32: i32;
        serialize_i64: i64;
        serialize_i128: i128;
        serialize_u8: u8;
        serialize_u16: u16;
        serialize_u32: u32;
        serialize_u64: u64;
        serialize_u128: u128;
    }

    fn serialize_char(self, value: char) -> Result<Tree, NoTree> {
        Ok(Tree::Value(value.to_string().into()))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Tree, NoTree> {
        Ok(Tree::Value(value.to_vec().into()))
    }

    fn serialize_none(self) -> Result<Tree, NoTree> {
        Ok(Tree::Value(Value::Null))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Tree, NoTree> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Tree, NoTree> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Tree, NoTree> {
        self.serialize_none()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Tree, NoTree> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Tree, NoTree> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Tree, NoTree> {
        Ok(Growing::new(Some(variant)).named(value.serialize(self)?))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Growing, NoTree> {
        Ok(Growing::new(None))
    }

    fn serialize_tuple(self, _: usize) -> Result<Growing, NoTree> {
        Ok(Growing::new(None))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Growing, NoTree> {
        Ok(Growing::new(None))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Growing, NoTree> {
        Ok(Growing::new(Some(variant)))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Growing, NoTree> {
        Ok(Growing::new(None))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Growing, NoTree> {
        Ok(Growing::new(None))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Growing, NoTree> {
        Ok(Growing::new(Some(variant)))
    }
}

macro_rules! lists {
    ($($of:path, $next:ident;)*) => {
        $(impl $of for Growing {
            type Ok = Tree;
            type Error = NoTree;

            fn $next<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoTree> {
                self.list.push(Tree::of(value)?);
                Ok(())
            }

            fn end(mut self) -> Result<Tree, NoTree> {
                let list = Tree::List(std::mem::take(&mut self.list));
                Ok(self.named(list))
            }
        })*
    };
}

lists! {
    SerializeSeq, serialize_element;
    ser::SerializeTuple, serialize_element;
    ser::SerializeTupleStruct, serialize_field;
    ser::SerializeTupleVariant, serialize_field;
}

macro_rules! objects {
    ($($of:path;)*) => {
        $(impl $of for Growing {
            type Ok = Tree;
            type Error = NoTree;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), NoTree> {
                self.members.push((name.to_owned(), Tree::of(value)?));
                Ok(())
            }

            fn end(mut self) -> Result<Tree, NoTree> {
                let object = Tree::Object(std::mem::take(&mut self.members));
                Ok(self.named(object))
            }
        })*
    };
}

objects! {
    ser::SerializeStruct;
    ser::SerializeStructVariant;
}

impl SerializeMap for Growing {
    type Ok = Tree;
    type Error = NoTree;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), NoTree> {
        let Tree::Value(Value::Text(name)) = Tree::of(name)? else {
            return Err(NoTree("the names of an object have to be texts".into()));
        };
        self.name = name;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoTree> {
        self.members.push((std::mem::take(&mut self.name), Tree::of(value)?));
        Ok(())
    }

    fn end(self) -> Result<Tree, NoTree> {
        Ok(Tree::Object(self.members))
    }
}
